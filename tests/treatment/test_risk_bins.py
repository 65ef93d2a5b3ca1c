"""Effect by baseline risk: bins against counts by hand, the trend against its size, level and power."""

from __future__ import annotations

import math

import numpy as np
import pytest

from aimed.core.errors import DataError, NotEstimableError
from aimed.treatment.nuisances import fit_nuisances
from aimed.treatment.rates import event_rates, group_effect
from aimed.treatment.risk_bins import risk_bins


def trial(n, seed, ratio=0.6, odds=None):
    rng = np.random.default_rng(seed)
    risk, T = rng.uniform(0.1, 0.7, n), rng.integers(0, 2, n)
    treated = risk * ratio if odds is None else odds * risk / (1 - risk + odds * risk)
    return (rng.random(n) < np.where(T == 1, treated, risk)).astype(float), T, risk


def test_every_bin_is_the_trial_of_its_rows():
    Y, T, risk = trial(1000, 1)
    found = risk_bins(Y, T, risk)
    assert [b.n for b in found.bins] == [250] * 4
    for b in found.bins:
        rows = (risk > b.lower) & (risk <= b.upper) | (risk == risk.min()) & (b is found.bins[0])
        alone = event_rates(Y[rows], T[rows])
        assert b.mean_risk == pytest.approx(risk[rows].mean())
        assert float(b.effect.difference) == float(alone.difference)
        assert (b.effect.difference.lower, b.effect.difference.upper) == (
            alone.difference.lower,
            alone.difference.upper,
        )
        assert (b.effect.ratio.lower, b.effect.events) == (alone.ratio.lower, alone.events)
        assert float(b.effect.benefit) == -float(alone.difference)


def test_equal_width():
    Y, T, risk = trial(500, 2)
    found = risk_bins(Y, T, risk, bins=10, how="width")
    widths = [b.upper - b.lower for b in found.bins]
    np.testing.assert_allclose(widths, (risk.max() - risk.min()) / 10)
    assert sum(b.n for b in found.bins) == 500


def test_empty_bin_and_bare_arm_say_so():
    risk = np.r_[np.full(10, 0.1), np.full(10, 0.2), np.full(10, 0.9)]
    T = np.r_[np.tile([0, 1], 10), np.ones(10)]
    found = risk_bins(np.tile([1, 0, 0], 10), T, risk, bins=4, how="width")
    assert [b.n for b in found.bins] == [20, 0, 0, 10]
    assert "no control row" in found.bins[3].effect.difference.note
    assert "2 bins without rows" in found.note
    assert found.to_dict()["bins"][1]["mean_risk"] is None


def test_tied_risks_make_fewer_bins():
    Y, T, _ = trial(100, 3)
    found = risk_bins(Y, T, np.tile([0.2, 0.5], 50), bins=4)
    assert "instead of 4" in found.note


def test_trend_is_the_interaction_of_least_squares():
    Y, T, risk = trial(2000, 4)
    found = risk_bins(Y, T, risk)
    slopes = [np.polyfit(risk[rows], Y[rows], 1)[0] for rows in (T == 1, T == 0)]
    assert float(found.trend) == pytest.approx(slopes[0] - slopes[1], rel=1e-9)
    # A risk ratio of .6 everywhere: the difference falls by .4 for a rise of 1.
    assert found.trend.lower < -0.4 < found.trend.upper
    assert "larger in patients with higher" in found.sentence


def test_scores_give_the_same_trend_in_a_balanced_trial():
    Y, T, risk = trial(4000, 5)
    scores = np.where(T == 1, Y / 0.5, -Y / 0.5)
    plain, scored = risk_bins(Y, T, risk), risk_bins(Y, T, risk, scores=scores)
    assert abs(float(plain.trend) - float(scored.trend)) < 2 * scored.trend.se
    assert float(scored.bins[0].effect.difference) == pytest.approx(scores[risk <= scored.bins[0].upper].mean())


def test_trend_holds_its_level_where_the_difference_is_constant():
    rejected = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        risk, T = rng.uniform(0.3, 0.7, 200), rng.integers(0, 2, 200)
        Y = (rng.random(200) < risk - 0.15 * T).astype(float)
        rejected += risk_bins(Y, T, risk).trend.p < 0.05
    assert 5 <= rejected <= 26


def test_patients_widen_bins_and_trend():
    Y, T, risk = trial(400, 6)
    three = [np.repeat(v, 3) for v in (Y, T, risk)]
    once, thrice = risk_bins(Y, T, risk), risk_bins(*three, patient=np.repeat(np.arange(400), 3))
    assert thrice.trend.se == pytest.approx(once.trend.se, rel=0.02)
    assert thrice.bins[1].effect.difference.se == pytest.approx(once.bins[1].effect.difference.se, rel=0.05)


def test_continuous_outcome_is_welch():
    from scipy import stats

    rng = np.random.default_rng(7)
    T = rng.integers(0, 2, 300)
    Y = rng.normal(size=300) * (1 + T) + T
    effect = group_effect(Y, T == 1, np.ones(300, dtype=bool))
    reference = stats.ttest_ind(Y[T == 1], Y[T == 0], equal_var=False)
    assert effect.difference / effect.difference.se == pytest.approx(reference.statistic)
    assert effect.ratio is None
    assert effect.events is None


def test_a_good_outcome_has_the_benefit_in_its_own_sign():
    Y, T, risk = trial(500, 8)
    found = risk_bins(1 - Y, T, risk, better="higher")
    assert float(found.overall.benefit) == float(found.overall.difference) > 0


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"risk": np.full(50, 0.3)}, "one baseline risk"),
        ({"risk": np.linspace(0, 2, 50)}, "outside"),
        ({"bins": 1}, "1 bins"),
        ({"how": "equal"}, "quantile"),
        ({"T": np.ones(50)}, "treated"),
        ({"Y": np.full(50, math.nan)}, "not finite"),
        ({"scores": np.zeros(3)}, "shape"),
    ],
)
def test_refusals(change, word):
    given = {"Y": np.tile([0.0, 1], 25), "T": np.repeat([0, 1], 25), "risk": np.linspace(0.1, 0.9, 50)} | change
    with pytest.raises((DataError, NotEstimableError), match=word):
        risk_bins(**given)


def test_a_risk_that_is_blind_to_treatment_keeps_the_size_of_the_trend():
    # Covariates that say nothing: the risk is noise, and one learned from the untreated shares it with the scores.
    blind, alone = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        X, T = rng.normal(size=(300, 3)), rng.integers(0, 2, 300)
        Y = (rng.random(300) < 0.45 - 0.15 * T).astype(float)
        fitted = fit_nuisances(Y, T, X, propensity=0.5, random_state=seed)
        scores = fitted.scores(Y, T)
        blind.append(risk_bins(Y, T, fitted.blind_risk, scores=scores).trend)
        alone.append(risk_bins(Y, T, fitted.mu0, scores=scores).trend)
    off = [np.mean([abs(t / t.se) > 1.96 for t in found]) for found in (blind, alone)]
    assert off[0] <= 0.09
    assert off[0] < off[1]


def test_arms_of_a_bin_are_adjusted_where_scores_of_the_arms_are_given():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4000, 2))
    T = (rng.random(4000) < 1 / (1 + np.exp(-2 * X[:, 1]))).astype(int)
    Y = (rng.random(4000) < 1 / (1 + np.exp(1 - X[:, 0] - X[:, 1]))).astype(float)
    fitted = fit_nuisances(Y, T, X)
    scores, arms = fitted.scores(Y, T), fitted.scores_by_arm(Y, T)
    plain = risk_bins(Y, T, fitted.blind_risk, scores=scores)
    found = risk_bins(Y, T, fitted.blind_risk, scores=scores, by_arm=arms)
    for one, crude in zip(found.bins, plain.bins, strict=True):
        assert float(one.effect.treated) - float(one.effect.control) == pytest.approx(float(one.effect.difference))
        assert float(one.effect.difference) == float(crude.effect.difference)
        assert one.effect.control.lower < one.effect.control < one.effect.control.upper
    assert float(plain.overall.treated) - float(plain.overall.control) > 0.15
    assert abs(float(found.overall.treated) - float(found.overall.control)) < 0.1
