"""Doubly robust scores, RATE, TOC, Qini and policy values: definitions, known truths, errors and refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm, t

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.draws import PatientDraws
from aimed.metrics.result import limits
from aimed.metrics.targeting import (
    RateReplicates,
    aipw_scores,
    policy_difference,
    policy_value,
    qini,
    rate,
    toc,
)

quick = settings(deadline=None, max_examples=40)
seeds = st.integers(0, 10**6)

# Effect 0.5 + x with x standard normal, treated first where x is large: TOC(q) = phi(z_q) / q.
AUTOC = quad(lambda q: norm.pdf(norm.ppf(q)) / q, 0, 1)[0]
QINI = quad(lambda q: norm.pdf(norm.ppf(q)), 0, 1)[0]


def trial(seed, n):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    treated = (rng.random(n) < 0.5).astype(int)
    return x, treated, x + (0.5 + x) * treated + rng.normal(size=n)


def scored(seed, n):
    x, treated, y = trial(seed, n)
    return aipw_scores(y, treated, 0.5 * x, 1.5 * x + 1, 0.5, outcome="good"), x


def slopes(function, weights):
    out = np.empty(weights.size)
    for i in range(weights.size):
        up, down = weights.copy(), weights.copy()
        up[i] *= 1 + 1e-5
        down[i] *= 1 - 1e-5
        out[i] = (function(up) - function(down)) / 2e-5
    return out


def weighted(seed, n=30):
    rng = np.random.default_rng(seed)
    priority, weights = rng.integers(0, 8, n).astype(float), rng.uniform(0.5, 2, n)
    treated = rng.permutation(np.arange(n) % 2)
    return rng.normal(size=n), treated, priority, weights


def test_scores_by_hand():
    y, treated, e = np.array([1.0, 0, 1, 0]), np.array([1, 1, 0, 0]), np.array([0.5, 0.25, 0.5, 0.2])
    mu0, mu1 = np.full(4, 0.5), np.full(4, 0.4)
    expected = [-0.1 + 0.6 / 0.5, -0.1 - 0.4 / 0.25, -0.1 - 0.5 / 0.5, -0.1 + 0.5 / 0.8]
    np.testing.assert_allclose(aipw_scores(y, treated, mu0, mu1, e, outcome="good"), expected)
    np.testing.assert_allclose(aipw_scores(y, treated, mu0, mu1, e), -np.array(expected))


def test_mean_score_without_models_is_the_difference_of_weighted_arm_means():
    y, treated, _, weights = weighted(1)
    e = np.random.default_rng(2).uniform(0.2, 0.8, 30)
    inverse = weights / np.where(treated == 1, e, 1 - e)
    arms = [np.average(y[treated == a], weights=inverse[treated == a]) for a in (0, 1)]
    scores = aipw_scores(y, treated, propensity=e, outcome="good", weights=weights)
    assert np.average(scores, weights=weights) == pytest.approx(arms[1] - arms[0])


def test_scores_refuse_and_warn():
    with pytest.raises(NotEstimableError, match="1 of 2"):
        aipw_scores([0, 1], [0, 1], propensity=[0.0, 0.5])
    with pytest.raises(NotEstimableError, match="2 of 2"):
        aipw_scores([0, 1], [1, 1])
    with pytest.raises(NotEstimableError, match="untreated"):
        aipw_scores([0, 1], [1, 1], propensity=0.5)
    with pytest.raises(DataError, match="only one"):
        aipw_scores([0, 1], [0, 1], mu0=[0, 0])
    with pytest.raises(DataError, match="outcome"):
        aipw_scores([0, 1], [0, 1], outcome="benefit")
    with pytest.warns(UserWarning, match="effective sample size 1"):
        aipw_scores([0, 1, 1], [0, 1, 0], propensity=[0.5, 0.01, 0.5])


@quick
@given(seeds, st.integers(2, 40), st.integers(2, 20))
def test_grf_rule_is_the_sum_over_rows(seed, n, levels):
    rng = np.random.default_rng(seed)
    scores, priority = rng.normal(size=n), rng.integers(0, levels, n)
    if np.ptp(priority) == 0:
        return
    order = np.argsort(-priority, kind="stable")
    averaged = np.array([scores[priority == p].mean() for p in priority[order]])
    curve = np.cumsum(averaged) / np.arange(1, n + 1) - scores.mean()
    assert rate(scores, priority, rule="grf").value == pytest.approx(curve.mean(), abs=1e-12)
    by_share = (np.arange(1, n + 1) / n * curve).mean()
    assert rate(scores, priority, rule="grf", target="QINI").value == pytest.approx(by_share, abs=1e-12)


@quick
@given(seeds, st.sampled_from(["AUTOC", "QINI"]))
def test_rate_does_not_depend_on_scale_order_or_how_rows_are_cut(seed, target):
    scores, _, priority, weights = weighted(seed)
    found = rate(scores, priority, target=target, weights=weights)
    assert rate(scores, np.exp(priority), target=target, weights=weights).value == found.value
    shuffle = np.random.default_rng(seed).permutation(30)
    again = rate(scores[shuffle], priority[shuffle], target=target, weights=weights[shuffle])
    assert again.value == pytest.approx(found.value, abs=1e-13)
    halves = rate(
        np.repeat(scores, 2),
        np.repeat(priority, 2),
        target=target,
        weights=np.repeat(weights / 2, 2),
        patient=np.repeat(np.arange(30), 2),
    )
    assert halves.value == pytest.approx(found.value, abs=1e-12)
    assert halves.se == pytest.approx(found.se, rel=1e-9)
    repeats = np.random.default_rng(seed).integers(0, 4, 30)
    repeats[np.argmax(priority)] = repeats[np.argmin(priority)] = 1
    rows = np.repeat(np.arange(30), repeats)
    whole = rate(scores, priority, target=target, weights=repeats)
    assert whole.value == pytest.approx(rate(scores[rows], priority[rows], target=target).value, abs=1e-12)


@quick
@given(seeds)
def test_influence_is_the_derivative(seed):
    scores, treated, priority, weights = weighted(seed)
    for target in ("AUTOC", "QINI"):
        found = rate(scores, priority, target=target, weights=weights)
        expected = slopes(lambda w, t=target: float(rate(scores, priority, target=t, weights=w)), weights)
        np.testing.assert_allclose(found.influence, expected, atol=1e-8)
    for convention in ("radcliffe", "gain"):
        more = {"convention": convention, "outcome": "good"}
        found = qini(scores, treated, priority, weights=weights, **more)
        expected = slopes(lambda w, m=more: float(qini(scores, treated, priority, weights=w, **m)), weights)
        np.testing.assert_allclose(found.influence, expected, atol=1e-8)
    policy = (priority > 4).astype(float)
    for more in ({"method": "hajek"}, {"method": "ipw"}, {"mu0": priority, "mu1": -priority}):
        options = {"propensity": np.linspace(0.2, 0.8, 30), **more}
        found = policy_difference(scores, treated, policy, "current", weights=weights, **options)
        expected = slopes(
            lambda w, o=options: float(policy_difference(scores, treated, policy, "current", weights=w, **o)), weights
        )
        np.testing.assert_allclose(found.influence, expected, atol=1e-8)


def test_toc_by_hand_and_at_the_ends():
    scores, priority = np.array([4.0, 0, 1, 3]), np.array([2, 2, 1, 0])
    curve = toc(scores, priority, q=[0.25, 0.5, 0.6, 0.75, 1])
    # The two tied rows count 2 each; at 0.6 four tenths of the third row are in.
    np.testing.assert_allclose(curve.value, [0, 0, (4 + 0.4) / 2.4 - 2, 5 / 3 - 2, 0])
    assert curve.se[-1] == 0
    np.testing.assert_allclose(curve.influence.sum(axis=0), 0, atol=1e-15)
    with pytest.raises(DataError, match="1 shares"):
        toc(scores, priority, q=[0, 0.5])


def test_rate_is_the_mean_of_toc():
    scores, priority = scored(3, 50)
    for target, power in (("AUTOC", 0), ("QINI", 1)):
        q = (np.arange(400_000) + 0.5) / 400_000
        reached = np.append(0, np.arange(1, 51) / 50)
        gained = np.append(0, np.cumsum(scores[np.argsort(-priority)]) / 50)
        curve = np.interp(q, reached, gained) / q - scores.mean()
        assert rate(scores, priority, target=target).value == pytest.approx((curve * q**power).mean(), abs=1e-6)
    np.testing.assert_allclose(
        toc(scores, priority, q=[0.3, 0.31]).value,
        np.interp([0.3, 0.31], reached, gained) / [0.3, 0.31] - scores.mean(),
    )


def test_priority_that_tells_nothing_is_near_zero_and_one_that_tells_all_is_large():
    scores, x = scored(4, 5000)
    right, wrong = rate(scores, x), rate(scores, -x)
    noise = rate(scores, np.random.default_rng(0).normal(size=5000))
    assert right.p < 1e-10
    assert wrong.value < 0
    assert abs(noise.value) < 4 * noise.se
    assert right.value == pytest.approx(AUTOC, abs=4 * right.se)
    assert rate(scores, x, target="QINI").value == pytest.approx(QINI, abs=4 * rate(scores, x, target="QINI").se)


def test_constant_priority_is_refused():
    with pytest.raises(NotEstimableError, match="one priority"):
        rate([1, 2, 3], [1, 1, 1])
    with pytest.raises(NotEstimableError, match="one priority"):
        toc([1, 2, 3], [1, 1, 2], weights=[1, 1, 0])
    with pytest.raises(DataError, match="target"):
        rate([1, 2], [1, 2], target="AUUC")
    with pytest.raises(DataError, match="method"):
        rate([1, 2], [1, 2], method="bootstrap")


def test_zero_weights_are_absent_rows():
    scores, treated, priority, weights = weighted(6)
    weights[::3] = 0
    kept = weights > 0
    found, without = rate(scores, priority, weights=weights), rate(scores[kept], priority[kept], weights=weights[kept])
    assert found.value == without.value
    np.testing.assert_allclose(found.influence[kept], without.influence)
    assert not found.influence[~kept].any()
    for convention in ("radcliffe", "gain", "ipw"):
        a = qini(scores, treated, priority, weights=weights, convention=convention)
        b = qini(scores[kept], treated[kept], priority[kept], weights=weights[kept], convention=convention)
        assert a.value == pytest.approx(b.value, abs=1e-14)
        assert a.se == pytest.approx(b.se)


def test_errors_are_the_spread_over_trials():
    values, errors = [], []
    for s in range(300):
        scores, x = scored(s, 400)
        found = (rate(scores, x), rate(scores, x, target="QINI"), *toc(scores, x, q=[0.1, 0.3, 0.6]))
        x, treated, y = trial(s, 400)
        found += (qini(y, treated, x, outcome="good"), qini(y, treated, x, outcome="good", convention="gain"))
        found += (policy_value(y, treated, (x > 0).astype(float)),)
        values.append([float(f) for f in found])
        errors.append([f.se for f in found])
    np.testing.assert_allclose(np.mean(errors, axis=0), np.std(values, axis=0), rtol=0.15)


def test_half_samples_agree_with_influence_and_repeat():
    scores, x = scored(5, 2000)
    influence = rate(scores, x)
    halves = rate(scores, x, method="half-sample", draws=300, seed=2)
    assert halves.value == influence.value
    assert halves.se == pytest.approx(influence.se, rel=0.15)
    assert halves.se == rate(scores, x, method="half-sample", draws=300, seed=2).se
    patient = np.arange(2000) // 4
    clustered = rate(scores, x, method="half-sample", patient=patient, draws=300)
    assert clustered.se == pytest.approx(rate(scores, x, patient=patient).se, rel=0.15)


@pytest.mark.slow
@pytest.mark.parametrize("n", [500, 2000])
def test_rate_and_toc_intervals_cover(n):
    inside = []
    shares = np.array([0.1, 0.3])
    truth = norm.pdf(norm.ppf(shares)) / shares
    for s in range(1500):
        scores, x = scored(s, n)
        first, second = rate(scores, x), rate(scores, x, target="QINI")
        curve = toc(scores, x, q=shares)
        x, treated, y = trial(s, n)
        area = qini(y, treated, x, outcome="good")
        inside.append(
            [
                first.lower < AUTOC < first.upper,
                second.lower < QINI < second.upper,
                area.lower < QINI < area.upper,
                *((curve.lower < truth) & (truth < curve.upper)),
            ]
        )
    share = np.mean(inside, axis=0)
    assert share.min() >= 0.93
    assert share.max() <= 0.97


def observed_study(seed, n):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    e = 1 / (1 + np.exp(-x))
    treated = (rng.random(n) < e).astype(int)
    y = x + (0.5 + x) * treated + rng.normal(size=n)
    return x, treated, y, e


def test_policy_intervals_cover_the_truth():
    # Treat where x > -0.5: the mean outcome is phi(-0.5) + 0.5 Phi(0.5), as x itself has mean 0.
    value = norm.pdf(0.5) + 0.5 * norm.cdf(0.5)
    current = quad(lambda u: norm.pdf(u) * (u + (0.5 + u) / (1 + np.exp(-u))), -9, 9)[0]
    inside = []
    for s in range(400):
        x, treated, y, e = observed_study(s, 800)
        policy = (x > -0.5).astype(float)
        row = []
        for more in ({"method": "ipw"}, {}, {"mu0": 0.8 * x, "mu1": 1.8 * x}):
            found = policy_value(y, treated, policy, propensity=e, **more)
            change = policy_difference(y, treated, policy, "current", propensity=e, **more)
            row += [found.lower < value < found.upper, change.lower < value - current < change.upper]
        inside.append(row)
    share = np.mean(inside, axis=0)
    # Four standard errors of a share of 400 around 0.95.
    assert share.min() > 0.906
    assert share.max() < 0.994


def test_policies_by_hand():
    y, treated = np.array([1.0, 0, 0, 1, 0, 1]), np.array([1, 1, 1, 0, 0, 0])
    e = np.array([0.5, 0.5, 0.25, 0.5, 0.5, 0.5])
    policy = np.array([1, 0, 1, 0, 0, 1])
    assert policy_value(y, treated, policy, propensity=e, method="ipw").value == pytest.approx((2 + 2) / 6)
    assert policy_value(y, treated, policy, propensity=e).value == pytest.approx(4 / (2 + 4 + 2 + 2))
    toss = policy_value(y, treated, np.full(6, 0.5), propensity=0.5)
    assert toss.value == pytest.approx(y.mean())
    assert toss.events == 3
    everyone = policy_difference(y, treated, np.ones(6), "none")
    assert everyone.value == pytest.approx(1 / 3 - 2 / 3)
    assert policy_difference(y, treated, policy, policy).value == 0
    flipped = policy_difference(y, treated, np.zeros(6), "all")
    assert flipped.value == pytest.approx(-everyone.value)
    assert flipped.se == pytest.approx(everyone.se)


def test_doubly_robust_is_right_when_either_model_is():
    x, treated, y, e = observed_study(1, 200_000)
    truth = norm.pdf(0.5) + 0.5 * norm.cdf(0.5)
    policy = (x > -0.5).astype(float)
    nonsense = np.zeros_like(x)
    for more in (
        {"propensity": e, "mu0": nonsense, "mu1": nonsense},
        {"propensity": 0.5, "mu0": x, "mu1": 0.5 + 2 * x},
    ):
        found = policy_value(y, treated, policy, **more)
        assert found.value == pytest.approx(truth, abs=4 * found.se)
    wrong = policy_value(y, treated, policy, propensity=0.5)
    assert abs(wrong.value - truth) > 10 * wrong.se


def test_policy_clusters_overlap_and_refusals():
    x, treated, y, e = observed_study(2, 300)
    policy = (x > 0).astype(float)
    once = policy_value(y, treated, policy, propensity=e)
    twice = policy_value(
        *(np.repeat(v, 2) for v in (y, treated, policy)),
        propensity=np.repeat(e, 2),
        patient=np.repeat(np.arange(300), 2),
    )
    assert twice.value == pytest.approx(once.value)
    assert twice.se == pytest.approx(once.se)
    assert once.note == ""
    e[0], treated[0] = 0.01, 1
    weak = policy_value(y, treated, np.ones(300), propensity=e)
    assert "1 rows had a chance below 0.05" in weak.note
    assert "effective sample size" in weak.note
    with pytest.raises(NotEstimableError, match="propensity"):
        policy_value(y, treated, policy, propensity=np.where(x > 1, 1.0, 0.5))
    with pytest.raises(NotEstimableError, match="as the policy says"):
        policy_value(y, treated, 1 - treated, propensity=0.5)
    with pytest.raises(DataError, match="aipw"):
        policy_value(y, treated, policy, method="aipw")
    with pytest.raises(DataError, match="policy has"):
        policy_value(y, treated, 2 * policy)
    with pytest.raises(DataError, match="against"):
        policy_difference(y, treated, policy, "nobody")


def brute_qini(good, treated, benefit, per):
    """Return the curve and the area over the diagonal by counting, for predictions without ties."""
    order = np.argsort(-benefit)
    n = good.size
    points = [0.0]
    for k in range(1, n + 1):
        top = order[:k]
        t, c = top[treated[top] == 1], top[treated[top] == 0]
        if per == "radcliffe":
            taken = good[c].sum() * t.size / c.size if c.size else 0.0
            points.append((good[t].sum() - taken) / treated.sum())
        else:
            points.append((good[t].mean() - good[c].mean()) * k / n if t.size and c.size else 0.0)
    curve = np.array(points)
    return curve, np.trapezoid(curve, dx=1 / n) - curve[-1] / 2


@quick
@given(seeds, st.sampled_from(["radcliffe", "gain"]))
def test_qini_counts(seed, convention):
    rng = np.random.default_rng(seed)
    y, treated, benefit = rng.integers(0, 2, 40), rng.permutation(np.arange(40) % 2), rng.normal(size=40)
    found = qini(y, treated, benefit, convention=convention)
    curve, area = brute_qini(1 - y, treated, benefit, convention)
    assert found.value == pytest.approx(area, abs=1e-13)
    np.testing.assert_allclose(found.uplift, curve, atol=1e-13)
    np.testing.assert_allclose(found.random, np.linspace(0, 1, 41) * curve[-1], atol=1e-13)
    assert qini(1 - y, treated, benefit, convention=convention, outcome="good").value == found.value
    assert qini(y, treated, np.exp(benefit), convention=convention).value == found.value


def test_perfect_ranking_has_normalised_qini_one():
    rng = np.random.default_rng(1)
    y, treated = rng.integers(0, 2, 100), rng.permutation(np.arange(100) % 2)
    good = 1 - y
    best = qini(y, treated, 2.0 * (good == treated) + treated)
    assert best.normalised == pytest.approx(1)
    other = qini(y, treated, rng.normal(size=100))
    assert abs(other.normalised) < 1
    assert math.isnan(qini(y + 0.5, treated, rng.normal(size=100)).normalised)


def test_qini_with_propensity_is_rate_with_qini():
    rng = np.random.default_rng(2)
    e = rng.uniform(0.2, 0.8, 500)
    benefit = rng.integers(0, 30, 500)
    treated = (rng.random(500) < e).astype(int)
    y = (rng.random(500) < 0.3).astype(int)
    found = qini(y, treated, benefit, propensity=e)
    other = rate(aipw_scores(y, treated, propensity=e), benefit, target="QINI")
    assert found.value == pytest.approx(other.value, abs=1e-14)
    assert found.se == pytest.approx(other.se)
    assert found.p == pytest.approx(other.p)
    assert found.method.startswith("ipw")


def test_qini_refuses_and_thins_its_curve():
    with pytest.raises(NotEstimableError, match="arm"):
        qini([0, 1], [1, 1], [1, 2])
    with pytest.raises(NotEstimableError, match="one predicted benefit"):
        qini([0, 1], [0, 1], [2, 2])
    with pytest.raises(DataError, match="convention"):
        qini([0, 1], [0, 1], [1, 2], propensity=0.5, convention="gain")
    x, treated, y = trial(1, 3000)
    found = qini(y, treated, x, outcome="good")
    assert found.x.size == found.uplift.size == 201
    assert (found.x[0], found.x[-1]) == (0, 1)
    assert float(found) == found.value > 0


def test_replicates_equal_the_weighted_metric():
    scores, _, priority, weights = weighted(7, 200)
    patient = np.random.default_rng(7).integers(0, 60, 200)
    draws = PatientDraws(patient, 200, draws=20, seed=1, threads=2)
    for target in ("AUTOC", "QINI"):
        replicates = RateReplicates(scores, priority, draws.codes, target=target, weights=weights)
        found = draws.map(replicates.replicate)
        expected = [rate(scores, priority, target=target, weights=weights * w).value for w in draws.rows()]
        assert found.tolist() == expected
    nobody = np.zeros((60, 1), np.uint8)
    nobody[0] = 1
    one = RateReplicates([1.0, 2.0], [1, 2], np.array([0, 1]))
    assert np.isnan(one.replicate(nobody[:2])).all()


def test_clustered_intervals_rest_on_the_patients():
    x, treated, y = trial(3, 300)
    patient = np.arange(300) % 8
    scores = aipw_scores(y, treated, x, x + 0.5, 0.5)
    every = [
        rate(scores, x, patient=patient),
        toc(scores, x, patient=patient)[2],
        qini(y, treated, x, outcome="good", patient=patient).estimate,
        policy_value(y, treated, x > 0, patient=patient),
        policy_difference(y, treated, x > 0, patient=patient),
    ]
    for found in every:
        assert found.upper == pytest.approx(float(limits(found.value, found.se, 0.95, units=8)[1])), found.name
        assert "8 independent units" in found.note, found.name
    assert every[0].p == pytest.approx(2 * t.cdf(-abs(every[0] / every[0].se) / np.sqrt(8 / 7), 7))
