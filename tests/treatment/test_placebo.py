"""Placebos: shuffles keep what they must, the p is exact, the level is held, and negative controls find confounding."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.result import Estimate
from aimed.treatment import AVERAGE
from aimed.treatment.placebo import negative_controls, permuted_treatment
from aimed.treatment.rates import event_rates, group_effect
from aimed.treatment.unadjusted import unadjusted


def welch(Y, T, X=None, patient=None):
    return group_effect(Y, T == 1, np.ones(Y.size, dtype=bool), patient=patient)


def plain(Y, T, X=None):
    return Y[T == 1].mean() - Y[T == 0].mean()


def test_p_is_that_of_all_permutations():
    rng = np.random.default_rng(0)
    Y, T = rng.normal(size=9) + np.repeat([0, 1.2], [5, 4]), np.repeat([0, 1], [5, 4])
    observed = abs(plain(Y, T))
    exact = np.mean(
        [abs(plain(Y, np.isin(np.arange(9), chosen))) >= observed - 1e-12 for chosen in combinations(range(9), 4)]
    )
    found = permuted_treatment(plain, Y, T, draws=4000, seed=1)
    assert found.p == pytest.approx(exact, abs=0.025)
    assert found.rejected is None
    assert found.mean == pytest.approx(0, abs=4 * found.sd / math.sqrt(4000))


def test_honest_intervals_reject_at_their_rate_and_a_real_effect_is_seen():
    rng = np.random.default_rng(1)
    T = rng.integers(0, 2, 300)
    found = permuted_treatment(welch, rng.normal(size=300) + T, T, draws=200)
    assert found.p == 1 / 201
    assert found.rejected.lower < 0.05 < found.rejected.upper
    assert found.finding is None
    assert "p = 0.00498" in found.sentence


def test_intervals_that_ignore_patients_are_found_out():
    rng = np.random.default_rng(2)
    who = np.repeat(np.arange(60), 5)
    Y, T = rng.normal(size=60)[who] + 0.2 * rng.normal(size=300), rng.integers(0, 2, 60)[who]
    naive = permuted_treatment(lambda Y, T, X, patient: welch(Y, T), Y, T, patient=who, draws=100)
    assert naive.rejected > 0.2
    assert naive.finding is not None
    assert naive.finding.severity == "WARN"
    clustered = permuted_treatment(welch, Y, T, patient=who, draws=100)
    assert clustered.finding is None


def test_shuffles_keep_patients_strata_and_counts():
    who = np.repeat(np.arange(20), 3)
    strata = np.repeat([0, 1], 30)
    T = np.isin(who, [0, 1, 2, 12, 13]).astype(int)
    seen = []
    permuted_treatment(
        lambda Y, T, X, patient: seen.append(T) or 0.0, np.zeros(60), T, patient=who, strata=strata, draws=50
    )
    for drawn in seen:
        assert all(np.ptp(drawn[who == i]) == 0 for i in range(20))
        assert drawn[strata == 0].sum() == 9
        assert drawn[strata == 1].sum() == 6
    assert len({tuple(d) for d in seen}) > 20


def test_crossover_is_shuffled_within_patients():
    who, T = np.repeat(np.arange(30), 2), np.tile([0, 1], 30)
    seen = []
    found = permuted_treatment(lambda Y, T, X, patient: seen.append(T) or 0.0, np.zeros(60), T, patient=who, draws=30)
    assert all((d.reshape(30, 2).sum(axis=1) == 1).all() for d in seen)
    assert "within patients" in found.how


def test_same_seed_same_bits_and_progress():
    rng = np.random.default_rng(3)
    Y, T, heard = rng.normal(size=50), rng.integers(0, 2, 50), []
    first = permuted_treatment(plain, Y, T, draws=20, seed=5, progress=lambda share, what: heard.append(share))
    again = permuted_treatment(plain, Y, T, draws=20, seed=5)
    np.testing.assert_array_equal(first.estimates, again.estimates)
    assert heard[-1] == 1
    assert len(heard) == 20


def test_failures_are_counted():
    def fails(Y, T, X):
        if T[0] == 1:
            raise NotEstimableError("no number")
        return plain(Y, T)

    rng = np.random.default_rng(4)
    T = np.r_[0, rng.integers(0, 2, 49)]
    found = permuted_treatment(fails, rng.normal(size=50), T, draws=60)
    assert math.isnan(found.p)
    assert "not estimable in" in found.note


@pytest.mark.parametrize("name", ["unadjusted", "standardisation"])
def test_estimators_of_the_average_effect_go_in_as_they_are(name):
    rng = np.random.default_rng(12)
    X, T = rng.normal(size=(120, 2)), rng.integers(0, 2, 120)
    Y = X[:, 0] + 2.0 * T + rng.normal(size=120)
    found = permuted_treatment(AVERAGE[name], Y, T, X, patient=np.arange(120), draws=40)
    assert found.p == 1 / 41
    assert float(found.observed) == pytest.approx(2, abs=0.5)
    assert found.rejected.n == 40
    control = negative_controls(AVERAGE[name], Y, T, X, outcomes={"noise": rng.normal(size=120)})
    assert control[0].n == 120


def test_a_measure_of_heterogeneity_goes_in_too():
    from aimed.metrics.targeting import aipw_scores, rate

    rng = np.random.default_rng(13)
    x, T = rng.normal(size=400), rng.integers(0, 2, 400)
    Y = x * T + rng.normal(size=400)
    found = permuted_treatment(lambda Y, T, X: rate(aipw_scores(Y, T, outcome="good"), X), Y, T, x, draws=60)
    assert found.p == 1 / 61
    assert found.finding is None


@pytest.mark.parametrize(
    ("more", "error", "word"),
    [
        ({"strata": [0, 0, 1, 1]}, NotEstimableError, "exchange"),
        ({"patient": ["a", "a", "b", "b"], "strata": [0, 1, 0, 1]}, DataError, "strata differ"),
        ({"draws": 0}, DataError, "draws"),
        ({"alpha": 1.5}, DataError, "alpha"),
    ],
)
def test_refusals(more, error, word):
    with pytest.raises(error, match=word):
        permuted_treatment(lambda Y, T, X, patient=None: 0.0, np.zeros(4), [0, 0, 1, 1], **more)


def test_wrong_coverage_and_no_estimate_are_refused():
    Y, T = np.tile([0.0, 1, 1], 20), np.tile([0, 1], 30)
    with pytest.raises(DataError, match="90 % intervals"):
        permuted_treatment(lambda Y, T, X: event_rates(Y, T, level=0.9), Y, T, draws=2)
    with pytest.raises(NotEstimableError, match="as it was"):
        permuted_treatment(lambda Y, T, X: math.nan, Y, T, draws=2)


def test_negative_controls_find_confounding():
    rng = np.random.default_rng(5)
    n = 1500
    sick = rng.normal(size=n)
    T, other = ((sick + rng.normal(size=n) > 0).astype(int) for _ in range(2))
    Y, control = (sick + rng.normal(size=n) for _ in range(2))
    noise = rng.normal(size=n)
    found = negative_controls(welch, Y, T, outcomes={"injury": control, "noise": noise}, exposures={"vaccine": other})
    assert [(c.name, c.kind) for c in found] == [("injury", "outcome"), ("noise", "outcome"), ("vaccine", "exposure")]
    assert found[0].finding is not None
    assert found[2].finding is not None
    assert found[1].finding is None
    assert "as it should" in found[1].sentence
    assert found[0].finding.where == "injury"


def test_negative_controls_hold_their_level():
    hits = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        T = rng.integers(0, 2, 80)
        found = negative_controls(welch, rng.normal(size=80), T, outcomes={"a": rng.normal(size=80)})
        hits += found[0].finding is not None
    assert 2 <= hits <= 20


def test_controls_without_interval_or_number():
    Y, T = np.tile([0.0, 1, 1], 20), np.tile([0, 1], 30)
    one = negative_controls(plain, Y, T, outcomes={"a": Y})[0]
    assert "without an interval" in one.sentence

    def refuses(Y, T, X):
        raise NotEstimableError("nothing there")

    assert "nothing there" in negative_controls(refuses, Y, T, outcomes={"a": Y})[0].sentence
    with pytest.raises(DataError, match="no negative control"):
        negative_controls(plain, Y, T)
    ratio = negative_controls(
        lambda Y, T, X: Estimate(1.4, name="r", lower=1.1, upper=1.8), Y, T, outcomes={"a": Y}, null=1.0
    )[0]
    assert ratio.finding is not None


def test_unequal_arms_of_unequal_spread_do_not_pass_for_an_effect():
    # 30 treated of spread 3, 90 untreated of spread 1, no effect on average: differences as they are reject 1 in 4.
    off = {True: 0, False: 0}
    for seed in range(60):
        rng = np.random.default_rng(seed)
        T = rng.permutation(np.arange(120) < 30).astype(int)
        Y = rng.normal(size=120) * np.where(T == 1, 3.0, 1.0)
        for own in off:
            p = permuted_treatment(lambda Y, T, X: unadjusted(Y, T), Y, T, draws=59, seed=seed, studentised=own).p
            off[own] += p <= 0.05
    assert off[True] <= 7
    assert off[False] >= 9
