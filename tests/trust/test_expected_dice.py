"""Expected Dice: the formula, what is learned, ranks and failures by scipy and scikit-learn, referral by hand."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from aimed.core.errors import DataError
from aimed.trust.expected_dice import BELOW, DiceExpectation, expected_dice, quality, spearman


def cases(n=60, noise=0.05, seed=0, k=1):
    rng = np.random.default_rng(seed)
    dice = rng.uniform(0.35, 0.97, (n, k))
    return np.clip(dice + rng.normal(0, noise, dice.shape), 0, 1), dice


def test_the_expectation_is_near_the_mean_dice_of_drawn_truths():
    rng = np.random.default_rng(0)
    p = np.clip(rng.beta(0.3, 0.9, 4000), 0, 1)
    mask = p >= 0.5
    truths = rng.random((400, p.size)) < p
    drawn = 2 * truths[:, mask].sum(1) / (mask.sum() + truths.sum(1))
    assert expected_dice(p.reshape(10, 20, 20), mask.reshape(10, 20, 20)) == pytest.approx(drawn.mean(), abs=0.003)


def test_an_empty_outline_is_expected_to_be_right_if_nothing_is_likely():
    assert expected_dice(np.full((2, 2, 2), 0.01), np.zeros((2, 2, 2))) == pytest.approx(0.99)
    assert expected_dice(np.zeros(4), np.zeros(4)) == 1.0
    assert expected_dice(np.ones(4, dtype=np.float32), np.ones(4)) == 1.0


@pytest.mark.parametrize("p", [[0.5, np.nan], [0.5, 1.1], [-0.1, 0.5]])
def test_what_is_no_probability_is_refused(p):
    with pytest.raises(DataError):
        expected_dice(p, [1, 0])


def test_shapes_are_checked():
    with pytest.raises(DataError):
        expected_dice([0.5], [1, 0])


@pytest.mark.parametrize(("n", "how"), [(0, "plain"), (7, "plain"), (10, "shift"), (40, "line")])
def test_what_is_learned_depends_on_how_much_there_is(n, how):
    rng = np.random.default_rng(1)
    soft = rng.uniform(0.5, 0.95, n)
    true = np.clip(0.4 * soft + 0.3 + rng.normal(0, 0.01, n), 0, 1)
    if how == "shift":
        true = np.clip(soft - 0.1 + rng.normal(0, 0.01, n), 0, 1)
    found = DiceExpectation.fit(soft, true)
    assert (found.how, found.cases) == (how, n)
    if how != "plain":
        assert np.mean(np.abs([found.predict(s) - t for s, t in zip(soft, true, strict=True)])) < 0.02
        assert found.error < 0.02
    assert DiceExpectation.from_state(json.loads(json.dumps(found.to_state()))) == found


def test_nothing_is_learned_where_nothing_is_gained():
    rng = np.random.default_rng(2)
    soft = rng.uniform(0.5, 0.95, 30)
    found = DiceExpectation.fit(soft, np.clip(soft + rng.normal(0, 0.0, 30), 0, 1))
    assert (found.how, found.predict(0.8)) == ("plain", 0.8)


def test_a_line_that_falls_is_not_learned():
    soft = np.linspace(0.5, 0.9, 30)
    found = DiceExpectation.fit(soft, 1.2 - soft)
    assert found.how != "line"
    assert found.predict(0.9) > found.predict(0.5)


def test_cases_of_one_patient_are_one_patient():
    soft, true = cases(30)
    assert DiceExpectation.fit(soft[:, 0], true[:, 0] * 0.8, np.arange(30) % 6).how == "plain"
    soft[3] = np.nan
    assert DiceExpectation.fit(soft[:, 0], true[:, 0]).cases == 29


def test_predictions_stay_dice():
    high = DiceExpectation(how="line", intercept=0.5, slope=1.0)
    assert high.predict(0.9) == 1.0
    assert high.predict(None) is None
    assert high.predict(math.nan) is None
    with pytest.raises(DataError):
        DiceExpectation.from_state({"how": "line", "intercept": math.inf, "slope": 1, "cases": 1, "patients": 1})


def test_ranks_are_those_of_scipy_ties_too():
    rng = np.random.default_rng(3)
    x, y = rng.integers(0, 8, 40), rng.integers(0, 8, 40)
    assert float(spearman(x, y)) == pytest.approx(stats.spearmanr(x, y).statistic)
    clustered = spearman(x, y, np.arange(40) // 2)
    assert float(clustered) == float(spearman(x, y))
    assert clustered.lower < float(clustered) < clustered.upper


@pytest.mark.parametrize("pairs", [1, 2])
def test_intervals_of_the_rank_correlation_cover(pairs):
    rng = np.random.default_rng(4)
    truth = 6 / math.pi * math.asin(0.6 / 2)
    held, runs = 0, 400
    for _ in range(runs):
        # Half of the variance is shared by the cases of a patient.
        x, noise = (np.sqrt(0.5) * (rng.normal(size=(24, 1)) + rng.normal(size=(24, pairs))) for _ in range(2))
        y = 0.6 * x + 0.8 * noise
        patient = np.repeat(np.arange(24), pairs)
        found = spearman(x.ravel(), y.ravel(), patient)
        held += found.lower <= truth <= found.upper
    assert 0.92 < held / runs < 0.99


def test_the_block_against_scipy_and_scikit_learn():
    soft, dice = cases(60, 0.1)
    block = quality(soft, dice, keys=["a"], labels=["Whole tumour"])
    one = block["regions"]["a"]
    failed = dice[:, 0] < BELOW
    assert one["rank"]["value"] == pytest.approx(stats.spearmanr(soft[:, 0], dice[:, 0]).statistic)
    assert one["auroc"]["value"] == pytest.approx(roc_auc_score(failed, -soft[:, 0]))
    assert one["auroc"]["lower"] < one["auroc"]["value"] < one["auroc"]["upper"]
    assert one["failures"] == failed.sum()
    assert one["error"]["value"] == pytest.approx(np.abs(soft - dice).mean())
    assert one["bias"]["value"] == pytest.approx((soft - dice).mean())
    order = np.argsort(soft[:, 0])
    for row in one["curve"]:
        kept = order[round(row["share"] * 60) :]
        assert row["dice"]["value"] == pytest.approx(dice[kept, 0].mean())
        assert row["failures"] == pytest.approx(failed[kept].sum())
        assert row["n"] == kept.size
    assert one["curve"][0]["difference"] is None
    assert one["curve"][2]["difference"]["lower"] > 0
    assert one["state"] == "knows"
    assert [p["case"] for p in one["points"]] == list(range(1, 61))
    assert block["mean"]["rank"]["value"] == pytest.approx(one["rank"]["value"])
    assert json.loads(json.dumps(block, allow_nan=False)) == block


def test_a_model_that_does_not_know():
    rng = np.random.default_rng(5)
    _, dice = cases(60)
    block = quality(rng.uniform(0.5, 0.9, dice.shape), dice, keys=["a"])
    assert block["state"] == "not shown"
    other = quality(1 - dice, dice, keys=["a"])
    assert other["state"] == "misleads"
    assert "misleads" in other["sentence"]


def test_few_failures_make_the_lowest_quarter_the_line():
    soft, dice = cases(40)
    dice = 0.8 + 0.2 * dice
    one = quality(soft, dice, keys=["a"])["regions"]["a"]
    assert one["below_why"] == "lowest quarter"
    assert one["failures"] == 10
    assert one["below"] == pytest.approx(np.quantile(dice, 0.25))


def test_few_cases_are_not_enough_evidence():
    soft, dice = cases(6)
    one = quality(soft, dice, keys=["a"])["regions"]["a"]
    assert one["state"] == "not enough evidence"
    assert one["auroc"]["lower"] is None
    two = quality(soft, dice, keys=["a"], patient=[1, 1, 1, 2, 2, 2])["regions"]["a"]
    assert two["rank"]["lower"] is None
    assert two["curve"][0]["dice"]["lower"] is None
    nothing = quality(np.full((3, 1), np.nan), np.ones((3, 1)), keys=["a"])
    assert nothing["regions"]["a"]["rank"]["value"] is None
    assert nothing["state"] == "not enough evidence"


def test_regions_without_a_dice_are_left_out_of_the_mean():
    soft, dice = cases(30, k=2)
    soft[:4, 1] = np.nan
    block = quality(soft, dice, keys=["a", "b"], learned=[DiceExpectation(), None])
    assert block["regions"]["b"]["n"] == 26
    assert block["regions"]["b"]["points"][0]["case"] == 5
    assert block["mean"]["points"][0]["dice"] == dice[0, 0]
    assert block["mean"]["points"][9]["expected"] == pytest.approx(soft[9].mean())
    assert block["regions"]["a"]["learned"]["how"] == "plain"


def test_refused():
    soft, dice = cases(8)
    with pytest.raises(DataError):
        quality(soft[:, 0], dice[:, 0], keys=["a"])
    with pytest.raises(DataError):
        quality(soft + 1, dice, keys=["a"])
    with pytest.raises(DataError):
        quality(soft, dice, keys=["a"], referred=(0.1, 0.2))
    with pytest.raises(DataError):
        DiceExpectation.fit([0.5], [0.5, 0.5])
