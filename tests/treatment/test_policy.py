"""Policies from predicted benefit: thresholds, budgets, values against known truths, coverage, targeted fractions."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy.stats import norm

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.targeting import policy_difference, policy_value
from aimed.treatment.policy import Preferences, evaluate_policy, targeted_fraction, treat_above, treat_top


def trial(seed, n):
    """Benefit of treatment x, standard normal; a higher outcome is better."""
    rng = np.random.default_rng(seed)
    x, t = rng.normal(size=n), rng.integers(0, 2, n)
    return {"Y": x + x * t + rng.normal(size=n), "T": t, "better": "higher", "propensity": 0.5}, x


def models(x):
    return {"mu0": x, "mu1": 2 * x}


# ------------------------------------------------------------------------------------------------------- the rules


def test_the_threshold_is_what_the_preferences_say():
    assert Preferences().threshold == 0
    assert Preferences(burden=0.02, cost=0.01, benefit_weight=3).threshold == pytest.approx(0.01)
    assert Preferences(burden=0.02, minimal_benefit=0.05).threshold == 0.05
    wanted = Preferences(benefit_weight=2, burden=0.1, cost=0.1)
    benefit = np.array([0.0, 0.05, 0.1, 0.15])
    # Whoever is above the threshold gains by being treated, nobody else does.
    assert np.array_equal(treat_above(benefit, wanted) == 1, wanted.net(benefit) > 0)
    assert treat_above([0.0, -0.1, 0.1]).tolist() == [0, 0, 1]


@pytest.mark.parametrize("wrong", [{"burden": -1}, {"cost": math.nan}, {"benefit_weight": 0}, {"burden": math.inf}])
def test_preferences_that_make_no_sense_are_refused(wrong):
    with pytest.raises(DataError, match=next(iter(wrong))):
        Preferences(**wrong)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.25, 0.3, 0.5, 0.7, 1.0])
def test_a_budget_treats_the_share_and_the_largest_benefits_first(share):
    rng = np.random.default_rng(0)
    benefit = rng.integers(1, 6, 200) / 10.0
    chance = treat_top(benefit, share)
    assert chance.mean() == pytest.approx(share)
    assert ((chance >= 0) & (chance <= 1)).all()
    # One benefit has one chance, and a larger benefit never a smaller one.
    by_level = [np.unique(chance[benefit == b]) for b in np.unique(benefit)]
    assert all(c.size == 1 for c in by_level)
    levels = np.concatenate(by_level)
    assert (np.diff(levels) >= 0).all()
    assert ((levels > 0) & (levels < 1)).sum() <= 1


def test_a_budget_is_not_spent_on_those_who_are_not_helped():
    assert treat_top([0.3, 0.1, -0.1, -0.2], 1.0).tolist() == [1, 1, 0, 0]
    assert treat_top([0.3, 0.1, -0.1, -0.2], 1.0, Preferences(burden=0.2)).tolist() == [1, 0, 0, 0]
    with pytest.raises(DataError, match="share"):
        treat_top([0.1], 1.5)


# ------------------------------------------------------------------------------------------------------ their value


def test_the_value_is_that_of_the_metric_and_the_gain_takes_the_burden_off():
    data, x = trial(0, 500)
    wanted = Preferences(benefit_weight=2.0, burden=0.3, cost=0.1)
    policy = treat_above(x, wanted)
    found = evaluate_policy(**data, policy=policy, preferences=wanted, **models(x))
    arrays = (data["Y"], data["T"], policy)
    options = {"propensity": 0.5, **models(x)}
    assert found.value == policy_value(*arrays, **options).value
    assert float(found.share_treated) == policy.mean()
    treated = {"all": 1.0, "none": 0.0, "current": data["T"].mean()}
    for name, share in treated.items():
        raw = policy_difference(*arrays, name, **options)
        assert float(found.outcome_difference[name]) == float(raw)
        assert float(found.net_gain[name]) == pytest.approx(2 * float(raw) - 0.4 * (policy.mean() - share))
    json.dumps(found.to_dict(), allow_nan=False)


def test_a_low_outcome_can_be_the_good_one():
    data, x = trial(1, 400)
    higher = evaluate_policy(**data, policy=x > 0)
    lower = evaluate_policy(**data | {"Y": -data["Y"], "better": "lower"}, policy=x > 0)
    for name in ("all", "none", "current"):
        assert float(lower.net_gain[name]) == pytest.approx(float(higher.net_gain[name]))
        assert float(lower.outcome_difference[name]) == pytest.approx(-float(higher.outcome_difference[name]))


def test_the_intervals_of_the_gain_cover_the_truth():
    wanted = Preferences(burden=0.2)
    gain = norm.pdf(0.2) - 0.2 * norm.sf(0.2)
    truth = {"none": gain, "all": gain + 0.2, "current": gain + 0.1}
    inside, draws = dict.fromkeys(truth, 0), 250
    for seed in range(draws):
        data, x = trial(seed, 400)
        found = evaluate_policy(**data, policy=treat_above(x, wanted), preferences=wanted, **models(x)).net_gain
        for name, value in truth.items():
            inside[name] += found[name].lower <= value <= found[name].upper
    for name, count in inside.items():
        assert 0.91 <= count / draws <= 0.985, (name, count)


def test_a_policy_that_is_one_of_the_others_gains_nothing_over_it():
    data, _ = trial(2, 100)
    found = evaluate_policy(**data, policy=np.ones(100))
    assert float(found.net_gain["all"]) == 0
    assert "both treat the same patients" in found.net_gain["all"].note
    json.dumps(found.to_dict(), allow_nan=False)


def test_patients_and_bad_input():
    data, x = trial(3, 300)
    twice = {k: np.repeat(data[k], 2) for k in ("Y", "T")}
    who = np.repeat(np.arange(300), 2)
    options = {"better": "higher", "propensity": 0.5}
    plain = evaluate_policy(**twice, policy=np.repeat(x > 0, 2), **options).net_gain["all"].se
    known = evaluate_policy(**twice, policy=np.repeat(x > 0, 2), **options, patient=who).net_gain["all"].se
    assert known == pytest.approx(plain * math.sqrt(2), rel=1e-6)
    with pytest.raises(DataError, match="policy"):
        evaluate_policy(**data, policy=2 * np.ones(300))
    with pytest.raises(DataError, match="better"):
        evaluate_policy(**data | {"better": "more"}, policy=np.ones(300))
    with pytest.raises(DataError, match="T has"):
        evaluate_policy(**data | {"T": data["T"] + 0.5}, policy=np.ones(300))
    with pytest.raises(NotEstimableError, match="propensity"):
        evaluate_policy(**data | {"propensity": 0.0}, policy=np.ones(300))


# --------------------------------------------------------------------------------------------- targeted fraction


def test_the_curve_ends_where_all_are_treated_and_is_the_value_of_each_share():
    data, x = trial(4, 400)
    wanted = Preferences(burden=0.1)
    found = targeted_fraction(**data, benefit=x, preferences=wanted, shares=[0.25, 0.5, 1.0], **models(x))
    assert found.gain.value[-1] == pytest.approx(found.random.value[-1])
    assert found.above_random.value[-1] == 0
    for share, value in zip((0.25, 0.5), found.gain.value[:2], strict=True):
        policy = (x >= np.sort(x)[-int(400 * share)]).astype(float)
        one = evaluate_policy(**data, policy=policy, preferences=wanted, **models(x)).net_gain["none"]
        assert value == pytest.approx(float(one), rel=1e-9)
    assert np.allclose(found.gain.value - found.random.value, found.above_random.value)
    json.dumps(found.to_dict(), allow_nan=False)


def test_the_intervals_of_the_curve_cover_the_truth():
    shares = np.array([0.2, 0.5, 0.8])
    cut = norm.ppf(1 - shares)
    truth = {"gain": norm.pdf(cut) - 0.1 * shares, "random": -0.1 * shares, "above_random": norm.pdf(cut)}
    inside, draws = {k: np.zeros(3) for k in truth}, 250
    for seed in range(draws):
        data, x = trial(1000 + seed, 400)
        found = targeted_fraction(**data, benefit=x, preferences=Preferences(burden=0.1), shares=shares, **models(x))
        for name, value in truth.items():
            curve = getattr(found, name)
            inside[name] += (curve.lower <= value) & (value <= curve.upper)
    for name, count in inside.items():
        assert ((count / draws >= 0.90) & (count / draws <= 0.985)).all(), (name, count / draws)


def test_one_benefit_for_all_is_treating_at_random_and_nobody_is_a_best_share_too():
    data, x = trial(5, 400)
    found = targeted_fraction(**data, benefit=np.full(400, 0.1), **models(x))
    assert np.array_equal(found.gain.value, found.random.value)
    assert "treating at random" in found.note
    costly = targeted_fraction(**data, benefit=x, preferences=Preferences(burden=50.0), **models(x))
    assert costly.best_share == 0.0
    json.dumps(found.to_dict(), allow_nan=False)
    with pytest.raises(DataError, match="shares"):
        targeted_fraction(**data, benefit=x, shares=[0.0, 0.5])
